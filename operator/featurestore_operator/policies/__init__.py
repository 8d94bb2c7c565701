"""What namespaces may use that is not their own."""
