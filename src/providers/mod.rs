//! How each provider wants to be asked and what its answer says. Pure mapping per provider, one transport; it decides nothing and knows no database.
