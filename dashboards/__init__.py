"""The pages of the plant's web app, over cloud's API. `dashboards.app.extend` mounts them on the API's application."""
