/**
 * What the page gains where there are scripts: buttons that copy, and an inbox that is live. Everything
 * else works without. For browsers, not for us: it is sent as it stands.
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
      // Without TLS there is no clipboard: what is selected can still be copied.
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
      if (source.readyState !== EventSource.CLOSED) return say('Connecting again…');
      // It was refused: too many look, or the password is another one now.
      say('Not live; reload to see it anew.');
      setTimeout(() => follow(place), AGAIN_MS);
    });
    addEventListener('pagehide', () => source.close());
    addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  }

  /** The server has escaped it. What did not change stays, so that it is not read out again. */
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
