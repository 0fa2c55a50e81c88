"""The admin backend: the HTTP API, and what people look at. `app.create_app` builds it."""
