-- The mail that gave the task: one that is taken away and given again is another assignment.
ALTER TABLE tasks ADD COLUMN assigned_seq INTEGER NOT NULL DEFAULT 0;
