"""Real outputs of Oracle's commands, kept elsewhere, and what a DBA reads in each."""
