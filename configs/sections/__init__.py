"""The sections of a configuration, one module each; `configs.schema` puts them together."""
