"""Binary glTF: the document, its rig, its animation."""
