"""LibreChat as this server meets it: what each version sends, and what its `.env` has to say."""
