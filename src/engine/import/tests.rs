//! What a line may hold, one refusal a test; the database has no part in it.


