"""The API's description in OpenAPI.

No server imports any of it: `/openapi.json` is the file beside this one, which `manage.py
spectacular` has made of the views. `schema.Schema` is where that begins.
"""
