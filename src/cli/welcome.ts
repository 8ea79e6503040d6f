/** The first screen of `npm start`: where to drop, an example that needs no other tool, where to pull. Pure. */
import { hostname } from 'node:os';
import type { EndpointState, ListenProblem } from '../daemon/endpoint-state.js';
import { type CommandLine, quote } from './command-line.js';

export interface WelcomeFacts {
  readonly version: string;
  readonly inbox: string;
  /** The directory that holds `.receipts`: the inbox, if it is writable. */
  readonly ownInbox: string;
  readonly published: string;
  /** The OCI image layout that ships with dropdock; undefined if it is not installed. */
  readonly sample: string | undefined;
  readonly endpoint: EndpointState;
  readonly commandLine: CommandLine;
}

const SAMPLE = 'hello:1.0';

export function welcomeText(facts: WelcomeFacts): string {
  const { version, inbox, ownInbox, sample, endpoint, commandLine } = facts;
  const [url] = endpoint.urls;
  const own = [
    `docker save app:1.0 -o ${quote(`${inbox}/app:1.0.tar`)}`,
    `skopeo copy docker://docker.io/library/alpine:3.19 ${quote(`oci:${inbox}/alpine:3.19`)}`,
  ];
  const shipped = `cp -r ${quote(sample ?? '')} ${quote(`${inbox}/${SAMPLE}`)}`;
  const name = sample === undefined ? 'app:1.0' : SAMPLE;
  const paragraphs = [
    `dropdock ${version} is running.`,
    ...(url === undefined ? [] : [pageText(url)]),
    ...(sample === undefined
      ? ['Put an image into its inbox, for example:', commands(...own)]
      : [
          'In another terminal, put an image into its inbox. This one comes with dropdock:',
          commands(shipped),
        ]),
    ...(url === undefined ? notListening(facts, name) : pullText(url, name)),
    'The result of each drop, and the state of everything:',
    commands(`cat ${quote(ownInbox)}/.receipts/*.json`, commandLine('status')),
    ...(sample === undefined ? [] : ['Your own images go in the same way:', commands(...own)]),
  ];
  const indented = paragraphs.join('\n\n').replace(/^(?=.)/gm, '  ');
  return `\n${indented}\n\n`;
}

function commands(...lines: readonly string[]): string {
  return lines.map((line) => `  ${line}`).join('\n');
}

function pageText(url: string): string {
  if (url.startsWith('/')) return `The web page is served at the socket ${url}, for a proxy.`;
  const { page, isEverywhere } = placesToOpen(url);
  const more = isEverywhere ? ` (from other machines: ${withHost(url, hostname())}/)` : '';
  return `The web page with everything that is published: ${page}/${more}`;
}

function pullText(url: string, name: string): string[] {
  const [repository = '', tag = ''] = name.split(':');
  const manifest = `/v2/${repository}/manifests/${tag}`;
  if (url.startsWith('/')) {
    const socket = `curl --unix-socket ${quote(url)} http://localhost`;
    return ['A second later it can be pulled:', commands(socket + manifest)];
  }
  const { page } = placesToOpen(url);
  const registry = page.replace(/^https?:\/\//, '');
  const insecure = url.startsWith('https:') ? 'curl --insecure' : 'curl';
  return [
    'A second later it can be pulled, with any of these:',
    commands(
      `docker pull ${registry}/${name}`,
      `podman pull --tls-verify=false ${registry}/${name}`,
      `skopeo copy --src-tls-verify=false docker://${registry}/${name} oci:${name}`,
      `${insecure} ${page}${manifest}`,
    ),
  ];
}

/** Stands where the commands to pull would stand. */
function notListening(facts: WelcomeFacts, name: string): string[] {
  const { endpoint, published } = facts;
  const [repository = ''] = name.split(':');
  const why = endpoint.problems.flatMap((problem) => whyNot(problem, facts));
  return [
    ...(why.length > 0 ? why : ['dropdock answers no pulls: registry.listen is null.']),
    'A second later it is published:',
    commands(`ls ${quote(`${published}/web/${repository}`)}/manifests/*/`),
  ];
}

function whyNot(
  { address, code, message, hint = '' }: ListenProblem,
  { commandLine }: WelcomeFacts,
): string[] {
  const text = `It CANNOT BE PULLED: dropdock does not listen at ${address}: ${message}.`;
  if (code !== 'EADDRINUSE') return [`${text}\n${hint}`.trimEnd()];
  const again = `DROPDOCK_REGISTRY_LISTEN=127.0.0.1:5077 ${commandLine('run', '--welcome')}`;
  return [
    `${text}\nStop that process, or end this one (Ctrl-C) and use another port:`,
    commands(again),
  ];
}

/** Clients cannot connect to "all addresses"; on this machine they use the loopback address. */
function placesToOpen(url: string): { page: string; isEverywhere: boolean } {
  const isEverywhere = /\/\/(?:0\.0\.0\.0|\[::\]):/.test(url);
  // Clients refuse an IPv6 address in the name of an image.
  if (url.includes('//[::1]:')) return { page: withHost(url, 'localhost'), isEverywhere };
  return { page: isEverywhere ? withHost(url, '127.0.0.1') : url, isEverywhere };
}

function withHost(url: string, host: string): string {
  return url.replace(/\/\/(?:\[[^\]]*\]|[^:]*):/, `//${host}:`);
}
