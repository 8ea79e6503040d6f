/** Values inserted into a template stay text. */
import { expect } from 'chai';
import { escapeText, Html, html } from '#src/web/html.js';

describe('html', () => {
  it('escapes values in text and in attributes', () => {
    const evil = `<script>alert("1")</script>' onx='&amp;`;
    const { text } = html`<b title="${evil}">${evil}</b>`;
    const safe = '&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39; onx=&#39;&amp;amp;';
    expect(text).to.equal(`<b title="${safe}">${safe}</b>`);
  });

  it('inserts HTML unchanged, joins lists, and renders nothing for empty values', () => {
    const items = ['<a>', 2].map((each) => html`<li>${each}</li>`);
    expect(html`<ul>${items}</ul>${undefined}${null}${false}${0}`.text).to.equal(
      '<ul><li>&lt;a&gt;</li><li>2</li></ul>0',
    );
  });

  it('does not accept an object that only resembles HTML', () => {
    const fake = { text: '<b>' } as unknown as Html;
    expect(() => html`${fake}`.text).to.throw();
    expect(html`${new Html('<b>')}`.text).to.equal('<b>');
  });

  it('replaces invisible characters and text direction controls', () => {
    expect(escapeText('a\u0000b\u001bc\u0085d\u202ee\u2066f\u200fg\ud800h')).to.equal(
      'a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg\ufffdh',
    );
    expect(escapeText('tab\tline\nend é 😀')).to.equal('tab\tline\nend é 😀');
  });
});
