"""What every page's frame shows."""

from django.http import HttpRequest


def frame(request: HttpRequest) -> dict[str, object]:
    """Values for the frame around a page."""
    return {"path": request.path}
