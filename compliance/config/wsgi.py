"""WSGI entry point. A room that finds it unsafe to begin (a database older than what was signed) refuses here."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.config.settings.embedded")
application = get_wsgi_application()

from compliance.jobs import registry  # noqa: E402  (needs the rooms to be loaded)

registry.start()
