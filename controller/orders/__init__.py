"""Orders: what they are and how they may change (`order`), the plan of their Jobs (`job`), where they are kept (`book`)."""
