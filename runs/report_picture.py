"""Draw docs/report.png: the report of the README's example as a browser shows it.

    .venv/bin/python runs/report_picture.py [CHROMIUM]

Needs the `dev` extra (playwright) and a Chromium, for instance Debian's.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import parallelnet
from parallelnet.data.manifest import read_word_times

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
HEIGHT = 1240  # pixels: prediction, why, picture, words and sound


def main() -> None:
    """Explain, open the page, and save what it shows."""
    chromium = sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium"
    why = parallelnet.explain(
        EXAMPLES / "happy.flac", EXAMPLES / "astronaut.jpg", word_times=read_word_times(EXAMPLES / "happy.words.json")
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = parallelnet.write_explanation(why, folder, speech_name="happy.flac", image_name="astronaut.jpg")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": HEIGHT})
        page.goto(report.as_uri(), wait_until="commit")
        page.locator("#theme").wait_for()
        page.screenshot(path=ROOT / "docs" / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
