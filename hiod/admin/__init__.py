"""What boss and hiodctl say to each other, and how it is carried."""
