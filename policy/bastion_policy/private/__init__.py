"""The private profile: answers with noise. Pure: plans in, plans and numbers out; the noise itself is drawn by the server."""
