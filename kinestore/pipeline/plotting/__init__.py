"""Colors, legends, text and charts that several pictures share."""
