"""Posts and the media library; decides when to publish and when to retry."""
