/**
 * The page's script: copy buttons and a live inbox. Everything else works without it. It is sent to browsers
 * unchanged.
 */

export const SCRIPT = `'use strict';
(() => {
  for (const box of document.querySelectorAll('.command')) {
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
  for (const place of document.querySelectorAll('[data-live]')) follow(place);

  function follow(place) {
    const state = place.parentElement.querySelector('.live-state');
    const say = (text) => { if (state && state.textContent !== text) state.textContent = text; };
    const source = new EventSource(place.dataset.live);
    source.addEventListener('inbox', (event) => {
      say('Live');
      show(place, event.data);
    });
    source.addEventListener('error', () => {
      if (source.readyState !== EventSource.CLOSED) return say('Reconnecting…');
      // The server refused it: too many streams, or the password has changed.
      say('Not live; reload the page to update.');
      setTimeout(() => follow(place), AGAIN_MS);
    });
    addEventListener('pagehide', () => source.close());
    addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  }

  /** The server has escaped the text. An unchanged summary stays, so that it is not announced again. */
  function show(place, text) {
    const next = document.createElement('template');
    next.innerHTML = text;
    const said = place.querySelector('.sum');
    const says = next.content.querySelector('.sum');
    if (said && says) {
      said.setAttribute('aria-live', 'polite');
      if (said.textContent !== says.textContent) said.textContent = says.textContent;
      says.remove();
      while (said.nextSibling) said.nextSibling.remove();
      place.append(next.content);
    } else place.replaceChildren(next.content);
  }
})();
`;
