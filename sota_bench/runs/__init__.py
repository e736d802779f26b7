"""A run of a grid by a command: how it is executed, and what the ledger keeps of it for the report and later runs."""
