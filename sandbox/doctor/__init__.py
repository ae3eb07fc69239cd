"""What `manage.py doctor` looks at. Each module checks one thing and says what to do about it."""
