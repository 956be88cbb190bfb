//! Sessions, slot actors, admission and outcomes: from a client's commands to episodes in sandboxes.
