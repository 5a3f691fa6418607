"""What the server does with a request: look up, judge, run, write down, answer."""
