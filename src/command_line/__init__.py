"""What was typed, and what was meant: answered from `schema.json`, before torch is imported."""
