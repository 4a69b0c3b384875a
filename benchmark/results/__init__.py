"""What a run leaves: records, selections, previews, and the folder that holds them."""
