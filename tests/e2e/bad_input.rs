//! What goes wrong at people's desks: each a message, a hint, an exit code, and nothing lost.
