"""Where steps run: one room per platform, each behind the five ports."""
