/**
 * The page's script: copy buttons, the key for the search, live updates. Everything else works without it. It
 * is sent to browsers unchanged.
 */

export const SCRIPT = `'use strict';
addButtons(document);

function addButtons(root) {
  for (const box of root.querySelectorAll('.command')) {
    const code = box.querySelector('code');
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Copy';
    button.setAttribute('aria-label', 'Copy ' + code.textContent);
    button.addEventListener('click', async () => {
      const copied = await copy(code);
      button.textContent = copied ? 'Copied' : 'Ctrl+C';
      setTimeout(() => { button.textContent = 'Copy'; }, 2000);
    });
    box.append(button);
  }
}

const searchBox = document.getElementById('find');
addEventListener('keydown', (event) => {
  const inText = event.target.closest?.('input, textarea, select, [contenteditable]');
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || inText) return;
  event.preventDefault();
  searchBox.focus();
  searchBox.select();
});

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    // Without TLS there is no clipboard API; a selection can still be copied.
    getSelection().selectAllChildren(code);
    return document.execCommand('copy');
  }
}

const AGAIN_MS = 15000;
const places = [...document.querySelectorAll('[data-live]')];
for (const url of new Set(places.map((place) => place.dataset.live))) {
  follow(url, places.filter((place) => place.dataset.live === url));
}

/** One stream updates all places of a page. */
function follow(url, places) {
  const say = (text) => {
    for (const place of places) {
      const state = place.parentElement.querySelector('.live-state');
      if (state && state.textContent !== text) state.textContent = text;
    }
  };
  const source = new EventSource(url);
  for (const place of places) {
    source.addEventListener(place.dataset.part, (event) => {
      say('Live');
      show(place, event.data);
    });
  }
  source.addEventListener('error', () => {
    if (source.readyState !== EventSource.CLOSED) return say('Reconnecting…');
    // The server refused it: too many streams, or the password has changed.
    say('Not live; reload the page to update.');
    setTimeout(() => follow(url, places), AGAIN_MS);
  });
  addEventListener('pagehide', () => source.close());
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
}

/** The server has escaped the text. An unchanged summary stays, so that it is not announced again. */
function show(place, text) {
  const next = document.createElement('template');
  next.innerHTML = text;
  addButtons(next.content);
  const focused = place.contains(document.activeElement) && keyOf(document.activeElement);
  const said = place.querySelector('.sum');
  const says = next.content.querySelector('.sum');
  if (said && says) {
    said.setAttribute('aria-live', 'polite');
    if (said.textContent !== says.textContent) said.textContent = says.textContent;
    says.remove();
    while (said.nextSibling) said.nextSibling.remove();
    place.append(next.content);
  } else place.replaceChildren(next.content);
  // The keyboard stays where it was, if that is still there.
  if (!focused) return;
  for (const each of place.querySelectorAll('a, button')) {
    if (keyOf(each) === focused) return each.focus({ preventScroll: true });
  }
}

function keyOf(element) {
  return element.getAttribute('href') || element.getAttribute('aria-label');
}
`;
