"""The template's shapes and joints, carried to a head."""
