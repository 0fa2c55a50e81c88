"""The server that answers bots over Rasa's HTTP API, and the test script that talks to it."""
