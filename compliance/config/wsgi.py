"""WSGI entry point. A room that finds it unsafe to begin (a database older than what was signed) refuses here."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.config.settings.embedded")
application = get_wsgi_application()

from compliance.jobs import registry  # noqa: E402  (needs the rooms to be loaded)
from compliance.jobs.memory import keep_freed_blocks  # noqa: E402

registry.start()
keep_freed_blocks()

# What was loaded up to here stays. A batch makes some ten thousand objects that go when it has been answered: a
# collector that starts every 700 walks over all of them several times and finds nothing.
GARBAGE_COLLECTION_AFTER = 100_000  # objects, some ten megabytes
gc.collect()
gc.freeze()
gc.set_threshold(GARBAGE_COLLECTION_AFTER, 10, 10)
