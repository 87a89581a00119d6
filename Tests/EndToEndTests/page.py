"""Looks at the status page of a running daemon with a real browser, as an operator would.

Every view, wide and narrow, in the light and in the dark: nothing in the console, nothing asked of anybody but the
gateway, nothing that axe objects to, nothing cut off. Then by keyboard alone; then a dead letter is put back through
the dialog. Prints what is wrong, one a line, and exits 1; a screenshot of every view is left in the folder.
"""

import argparse
import json
import pathlib
import sys
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service

VIEWS = {"overview": "Overview", "on-call": "On call", "debug": "Debug"}
WIDTHS = {"wide": 1280, "narrow": 360}
SCHEMES = ["light", "dark"]

problems = []


def check(fact, text):
    if not fact:
        problems.append(text)
    return fact


def browser(options):
    chrome = webdriver.ChromeOptions()
    chrome.binary_location = options.chromium
    for argument in [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--force-device-scale-factor=1", "--disable-background-networking", "--disable-component-update",
        "--no-first-run", "--user-data-dir=" + options.profile,
    ]:
        chrome.add_argument(argument)
    chrome.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=chrome, service=Service(options.driver))


class Page:
    def __init__(self, driver, url, folder, axe):
        self.driver = driver
        self.url = url
        self.folder = folder
        self.axe = axe
        # Console messages and requests, as they come.
        self.console = []
        self.requests = []
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {
            "source": "window.violations = [];"
            "addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective + ' ' + e.blockedURI));"
        })

    def js(self, source, *arguments):
        return self.driver.execute_script(source, *arguments)

    def wait(self, what, condition, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        check(False, f"waited {seconds} s in vain for {what}; the page shows: {self.text()[:400]}")
        return None

    def text(self):
        return self.js("return document.body.innerText") or ""

    def emulate(self, width, scheme, motion="no-preference"):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]})
        self.resize(width, 900)

    def resize(self, width, height):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})

    def open(self, view):
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/#/{view}")
        self.wait(f"{view} to be filled", self.is_filled)

    def is_filled(self):
        return self.js(
            "return document.querySelector('main').ariaBusy === 'false' && !document.querySelector('.skeleton')")

    def shoot(self, name, width):
        height = self.js("return document.documentElement.scrollHeight")
        self.resize(width, max(900, min(height, 6000)))
        time.sleep(0.2)
        (self.folder / f"{name}.png").write_bytes(self.driver.get_screenshot_as_png())
        self.resize(width, 900)

    def drain(self):
        self.console += [entry for entry in self.driver.get_log("browser")]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)


def look(page):
    """Every view as it is shown: what is there, what axe says, a screenshot."""
    for view, title in VIEWS.items():
        for size, width in WIDTHS.items():
            for scheme in SCHEMES:
                name = f"{view}-{size}-{scheme}"
                page.emulate(width, scheme)
                page.open(view)
                structure(page, name, title)
                axe(page, name)
                page.shoot(name, width)
                check(not page.js("return violations"), f"{name}: the policy was violated: {page.js('return violations')}")
    page.drain()


def structure(page, name, title):
    facts = page.js("""
      const seen = (selector) => document.querySelectorAll(selector).length;
      return {
        h1: [...document.querySelectorAll('h1')].map(e => e.textContent),
        landmarks: ['header', 'nav[aria-label]', 'main', 'footer'].filter(s => seen(s) !== 1),
        live: seen('[role=status]') > 0,
        current: [...document.querySelectorAll('nav [aria-current=page]')].map(e => e.textContent),
        title: document.title,
        over: document.documentElement.scrollWidth - innerWidth,
        cut: [...document.querySelectorAll('main *')].filter(e => {
          const box = e.getBoundingClientRect();
          // Text that runs over the edge of its card is cut no less than what runs over the window's.
          const card = e.closest('main section')?.getBoundingClientRect();
          return box.width > 1 && box.right > Math.min(innerWidth, card?.right ?? innerWidth) + 1;
        }).slice(0, 3).map(e => e.outerHTML.slice(0, 120)),
        ground: getComputedStyle(document.body).backgroundColor,
      };""")
    check(len(facts["h1"]) == 1, f"{name}: headings of the first level: {facts['h1']}")
    check(not facts["landmarks"], f"{name}: not once: {facts['landmarks']}")
    check(facts["live"], f"{name}: nothing tells of changes")
    check(len(facts["current"]) == 1 and facts["current"][0].startswith(title), f"{name}: current: {facts['current']}")
    check(title in facts["title"], f"{name}: its title is {facts['title']}")
    check(facts["over"] <= 0 and not facts["cut"], f"{name}: cut off by {facts['over']} px: {facts['cut']}")
    channel = int(facts["ground"].split("(")[1].split(",")[0])
    check((channel < 60) == name.endswith("dark"), f"{name}: its ground is {facts['ground']}")


def claims(page):
    """What the views say is what was measured, and since when."""
    page.open("overview")
    text = page.text()
    check("All is well" not in text and "needs a person" not in text, "overview: it claims more than was measured")
    measured = page.js("return document.querySelector('.measured')?.textContent") or ""
    check(measured.startswith("Last message ") and " ago; " in measured, f"overview: it says {measured!r}")
    page.open("debug")
    rows = page.js("""
      const stages = [...document.querySelectorAll('main table')][0];
      return [...stages.querySelectorAll('tbody tr')].map(r => [...r.children].map(c => c.textContent.trim()));""")
    named = {row[0].split(" ")[0]: row for row in rows}
    check("since the daemon started" in str(named.get("receive")), f"debug: {named.get('receive')}")
    check("since the pipelines began" in str(named.get("decode")), f"debug: {named.get('decode')}")
    few = [row for row in rows if " at most " in str(row) or " over " in str(row)]
    check(few, f"debug: no stage has few cases: {rows}")
    for row in few:
        check(row[4:6] == ["–", "–"], f"debug: percentiles of few cases: {row}")


def axe(page, name):
    page.js(page.axe)
    result = page.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, { resultTypes: ['violations'] }).then(done, e => done({ violations: [{ id: String(e),"
        " impact: 'critical', nodes: [] }] }));")
    for violation in result["violations"]:
        places = "; ".join(str(node["target"]) for node in violation["nodes"][:3])
        check(False, f"{name}: axe: {violation['impact']}: {violation['id']}: {places}")


FOCUS = """
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  const all = [...document.querySelectorAll('*')];
  return { at: all.indexOf(e), name: e.getAttribute('aria-label') || e.textContent.trim().slice(0, 40) || e.id,
    ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1,
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight, inDialog: Boolean(e.closest('dialog')),
    link: e.getAttribute('href') };"""


def walk(page):
    """By keyboard: every stop in the order of the page, each to be seen; the views; the dialog."""
    page.emulate(1280, "light")
    for view in VIEWS:
        page.open(view)
        stops = []
        for _ in range(200):
            page.press(Keys.TAB)
            stop = page.js(FOCUS)
            if stop is None or (stops and stop["at"] <= stops[0]["at"]):
                break
            stops.append(stop)
        names = [stop["name"] for stop in stops]
        check(len(stops) > 5, f"{view}: only {names} are reached")
        check(names and names[0] == "Skip to the content", f"{view}: the first stop is {names[:1]}")
        check([stop["at"] for stop in stops] == sorted(stop["at"] for stop in stops), f"{view}: the order is {names}")
        for stop in stops:
            check(stop["ring"] and stop["seen"], f"{view}: the focus on {stop['name']} cannot be seen")
        missing = page.js("""
          return [...document.querySelectorAll('a[href], button, input, select, summary')]
            .filter(e => e.getClientRects().length).length""") - len([s for s in stops])
        check(missing <= 0, f"{view}: {missing} controls are not reached by Tab")
    # The skip link leads past the bar, a link to its view; the heading has the focus then.
    page.open("overview")
    page.press(Keys.TAB)
    page.press(Keys.ENTER)
    check(page.js("return document.activeElement.id") == "main", "the skip link does not lead to the content")
    page.find("#to-debug").send_keys(Keys.ENTER)
    page.wait("the view to change", lambda: page.js("return document.activeElement.tagName") == "H1")
    check(page.js("return location.hash") == "#/debug", "Enter on a link does not change the view")


def requeue(page, options):
    """A dead letter with what strangers wrote in it, looked at and put back."""
    page.emulate(1280, "light")
    page.open("on-call")
    label = f"dead letters of {options.rule} of {options.pipeline}"
    show = page.find(f'button[aria-label="Show {label}"]')
    show.send_keys(Keys.ENTER)
    page.wait("the dead letters", lambda: page.js("return document.querySelector('.letter summary')"))
    page.find(".letter summary").send_keys(Keys.ENTER)
    page.wait("the payload", lambda: options.payload in page.text())
    check(not page.js("return document.querySelectorAll('main img, main script, main b').length"), "payload became markup")
    page.emulate(1280, "light")
    page.shoot("on-call-payload", 1280)
    axe(page, "on-call with a payload")
    selector = f'button[aria-label="Requeue {label}"]'
    page.find(selector).send_keys(Keys.ENTER)
    page.wait("the dialog", lambda: page.js("return document.querySelector('dialog[open]')"))
    for _ in range(12):
        page.press(Keys.TAB)
        stop = page.js(FOCUS)
        check(stop is None or stop["inDialog"], f"Tab leads out of the dialog to {stop}")
    axe(page, "dialog")
    page.driver.get_screenshot_as_file(str(page.folder / "dialog-requeue.png"))
    page.press(Keys.ESCAPE)
    page.wait("the dialog to close", lambda: not page.js("return document.querySelector('dialog')"))
    check(page.js("return document.activeElement.matches(arguments[0])", selector), "the focus does not return")
    page.drain()
    check_console(page)
    if not options.token:
        return
    # Without a token it is refused, and the dialog says so; with one it is done.
    page.find(selector).send_keys(Keys.ENTER)
    page.find("dialog button.main").send_keys(Keys.ENTER)
    page.wait("the refusal", lambda: page.js("return document.querySelector('dialog .problem p')"))
    page.find("#field-token").send_keys(options.token, Keys.ENTER)
    page.wait("the requeue", lambda: page.js("return document.querySelector('#told p')"))
    told = page.js("return document.querySelector('#told p').textContent")
    check(told.endswith(f"of {options.rule} will run again."), f"it is told: {told}")
    check(page.js("return document.getElementById('live').textContent") == told, "a screen reader is not told")
    check(page.js("return sessionStorage.length") == 1 and not page.js("return localStorage.length"), "the token's place")
    page.shoot("on-call-requeued", 1280)


def silence(page):
    """The gateway cannot be reached, and comes back; it wants a token that is not the one."""
    page.open("overview")
    conditions = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    page.wait("the message", lambda: "does not answer" in page.find("#notice").text)
    check("is not known" in page.find("h1").text, "what was true once is told as if it were true now")
    page.shoot("unreachable", 1280)
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**conditions, "offline": False})
    page.wait("the message to go", lambda: not page.find("#notice").text)
    page.js("sessionStorage.setItem('forebay-token', 'wrong')")
    page.wait("the question for a token", lambda: "A token is needed" in page.find("#notice").text)
    axe(page, "question for a token")
    page.shoot("token-needed", 1280)
    page.js("sessionStorage.clear()")
    page.wait("the message to go", lambda: not page.find("#notice").text)


def act(options, action):
    """Somebody else pauses or resumes the uplink."""
    request = urllib.request.Request(
        f"{options.url}/v1/uplinks/{options.uplink}/{action}", method="POST",
        headers={"Authorization": f"Bearer {options.token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        check(answer.status == 200, f"{action}: {answer.status}")


# From now on the page does not look by itself every few seconds: what is planned is dropped, and nothing new planned.
DEAF_TO_TIME = """
  const later = window.setTimeout;
  window.setTimeout = (run, delay, ...rest) => delay === 5000 ? 0 : later(run, delay, ...rest);
  for (let id = later(() => {}, 0); id > 0; id--) clearTimeout(id);"""


def events(page, options):
    """What others do is shown when it happens, by the events; without them, by looking every few seconds."""
    page.emulate(1280, "light")
    for view in ["overview", "on-call"]:
        page.open(view)
        page.wait("a stream of events", lambda: page.js(
            "return performance.getEntriesByType('resource').some(e => e.name.endsWith('v1/status'))"))
        page.js(DEAF_TO_TIME)
        act(options, "pause")
        shown = page.wait(f"{view} to show the pause", lambda: f"paused {options.uplink}" in page.text())
        act(options, "resume")
        page.wait(f"{view} to show the end of the pause", lambda: f"paused {options.uplink}" not in page.text())
        check(not page.js("return violations"), f"{view}: the policy was violated: {page.js('return violations')}")
        check(shown, f"{view}: nothing is heard")
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/v1/events"]})
    page.open("on-call")
    act(options, "pause")
    page.wait("the pause without events", lambda: f"paused {options.uplink}" in page.text())
    act(options, "resume")
    page.wait("the end of the pause without events", lambda: f"paused {options.uplink}" not in page.text())
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})


def motion(page):
    """Whoever wants no motion has none."""
    for wish, name in [("no-preference", "breathe"), ("reduce", "none")]:
        page.emulate(1280, "light", wish)
        moving = page.js("""
          const box = document.createElement('div'), line = document.createElement('span');
          box.className = 'skeleton';
          box.append(line);
          document.body.append(box);
          const moving = getComputedStyle(line).animationName;
          box.remove();
          return moving;""")
        check(moving == name, f"motion with {wish}: {moving}")


def check_console(page):
    for entry in page.console:
        # The browser has tips for forms with passwords, which look for a user's name.
        check(entry["level"] == "DEBUG", f"console: {entry['level']}: {entry['message']}")
    page.console = []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--folder", required=True, help="for the screenshots")
    parser.add_argument("--axe", required=True, help="axe.min.js")
    parser.add_argument("--profile", required=True, help="an empty folder for the browser")
    parser.add_argument("--rule", required=True, help="of the dead letters")
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--payload", required=True, help="a part of it, as it is to be read")
    parser.add_argument("--uplink", required=True)
    parser.add_argument("--token", help="of an operator")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    options = parser.parse_args()
    folder = pathlib.Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    driver = browser(options)
    try:
        driver.set_script_timeout(60)
        page = Page(driver, options.url.rstrip("/"), folder, pathlib.Path(options.axe).read_text())
        look(page)
        check_console(page)
        claims(page)
        walk(page)
        motion(page)
        requeue(page, options)
        silence(page)
        if options.token:
            events(page, options)
        page.drain()
        # What axe draws for itself and the browser's own pages are no requests.
        outside = {url for url in page.requests if not url.startswith((page.url + "/", "about:", "data:", "chrome:"))}
        check(not outside, f"asked of others: {sorted(outside)[:5]}")
        check(len(page.requests) > 50, f"only {len(page.requests)} requests were seen")
    finally:
        driver.quit()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
