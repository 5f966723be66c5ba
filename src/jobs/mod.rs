//! Which use-case runs when: the apalis wiring, one thin file per job. No business logic.
