"""What a report's HTML may load: our stylesheet and our fonts, by exact name. Nothing else, from nowhere.

WeasyPrint's own fetcher reads `file:` and `http:` (CVE-2025-68616, CVE-2026-49452 show where that leads). Any other
address ends the rendering at once: a report that asks for something foreign is a report nobody should get.
"""

from pathlib import Path

from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from compliance.reports.rendering.glyphs import font_files

BASE_URL = "report:/"
STYLESHEET = Path(__file__).resolve().parents[3] / "templates" / "reports" / "report.css"


class AssetFetcher(URLFetcher):
    """Serves the shipped assets and stops the rendering at every other address."""

    def __init__(self) -> None:
        super().__init__()
        self._assets = {f"{BASE_URL}report.css": (STYLESHEET, "text/css")}
        self._assets |= {f"{BASE_URL}fonts/{path.name}": (path, "font/ttf") for path in font_files()}

    def fetch(self, url: str, headers: object = None) -> URLFetcherResponse:  # noqa: ARG002 - the signature is WeasyPrint's
        """The asset called `url`."""
        if url not in self._assets:
            raise FatalURLFetchingError(f"a report may not load {url[:200]}")
        path, media_type = self._assets[url]
        return URLFetcherResponse(url, path.read_bytes(), {"Content-Type": media_type})
