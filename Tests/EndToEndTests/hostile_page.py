"""Looks at the status page of a gateway whose devices mean harm, with a real browser.

Everything that a device can bring onto the page is markup that would run a script. No script
runs, no element comes of it, and the text stands there as it was written; and were there a hole in the page, its policy
would keep a script from running. Prints what is wrong, one a line, and exits 1.
"""

import argparse
import json
import pathlib
import sys
import time

import page as looker
from page import Page, browser, check, problems

WATCH = """
  window.ran = [];
  for (const name of ['alert', 'prompt', 'confirm', 'print', 'open']) window[name] = (text) => { window.ran.push(name); };
"""

# What there is that the page did not bring along itself.
STRANGE = """
  const inside = [...document.querySelectorAll('main *, header *, footer *, dialog *')];
  return inside.filter(e =>
    ['IMG', 'IFRAME', 'OBJECT', 'EMBED', 'SCRIPT', 'STYLE', 'LINK', 'BASE', 'MARQUEE', 'VIDEO', 'B', 'X-MARK']
      .includes(e.tagName) && e.getAttribute('src') !== 'favicon.svg'
    || [...e.attributes].some(a => a.name.startsWith('on') || /^\\s*(javascript|data|vbscript):/i.test(a.value))
  ).map(e => e.outerHTML.slice(0, 120));"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--folder", required=True, help="for the screenshots")
    parser.add_argument("--profile", required=True, help="an empty folder for the browser")
    parser.add_argument("--texts", required=True, help="JSON: texts by the view that has to show them")
    parser.add_argument("--rule", required=True, help="of the dead letters")
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    options = parser.parse_args()
    folder = pathlib.Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = json.loads(options.texts)
    driver = browser(options)
    try:
        driver.set_script_timeout(60)
        page = Page(driver, options.url.rstrip("/"), folder, "")
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        for view in looker.VIEWS:
            page.emulate(1280, "light")
            page.open(view)
            title = page.js("return document.title")
            if view == "on-call":
                letters(page, options)
            for text in texts.get(view, []):
                page.wait(f"{view} to show {text!r} as it is", lambda: text in page.text())
            page.shoot(f"hostile-{view}", 1280)
            harmless(page, view)
            check(page.js("return document.title") == title, f"{view}: the title was changed")
        policy(page)
        page.drain()
        outside = {url for url in page.requests if not url.startswith((page.url + "/", "about:", "data:", "chrome:"))}
        check(not outside, f"asked of others: {sorted(outside)[:5]}")
    finally:
        driver.quit()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def letters(page, options):
    """The dead letters with what the devices wrote."""
    show = page.find(f'button[aria-label="Show dead letters of {options.rule} of {options.pipeline}"]')
    page.js("arguments[0].click()", show)
    page.wait("the dead letters", lambda: page.js("return document.querySelector('.letter summary')"))
    page.js("document.querySelectorAll('.letter summary').forEach(e => e.click())")


def harmless(page, view):
    # What would run would have by now: an image that fails, a script that was put in.
    page.wait("the page to be still", lambda: page.js("return document.readyState === 'complete'"))
    time.sleep(0.3)
    check(not page.js("return window.ran"), f"{view}: scripts ran: {page.js('return window.ran')}")
    strange = page.js(STRANGE)
    check(not strange, f"{view}: text became markup: {strange}")
    check(not page.js("return violations"), f"{view}: the policy had to step in: {page.js('return violations')}")


def policy(page):
    """Had the page a hole, no script would run through it."""
    page.open("overview")
    page.js("""
      document.querySelector('main').insertAdjacentHTML('beforeend',
        '<img src="nowhere" onerror="window.ran.push(1)"><svg onload="window.ran.push(2)"></svg>'
        + '<a id="hole" href="javascript:window.ran.push(3)">x</a><iframe srcdoc="<script>parent.ran.push(4)</script>"></iframe>');
      document.getElementById('hole').click();
      const script = document.createElement('script');
      script.textContent = 'window.ran.push(5)';
      document.body.append(script);
      const other = document.createElement('script');
      other.src = 'data:text/javascript,window.ran.push(6)';
      document.body.append(other);""")
    page.wait("the policy to refuse", lambda: len(page.js("return violations")) >= 4)
    time.sleep(0.3)
    check(not page.js("return window.ran"), f"the policy lets scripts run: {page.js('return window.ran')}")


if __name__ == "__main__":
    sys.exit(main())
