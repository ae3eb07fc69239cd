from sandbox.admin.files import StoredFileAdmin

__all__ = ["StoredFileAdmin"]
