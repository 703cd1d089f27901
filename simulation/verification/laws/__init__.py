"""What must hold in every history, an independent check for each."""
