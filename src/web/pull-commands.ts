/** The commands that pull something, by what it is. */
import type { ContentKind } from '../image/content-kind.js';

export interface PullWanted {
  readonly kind: ContentKind;
  /** The registry's name in references: `images.example.com`. */
  readonly registry: string;
  /** Without TLS most tools need an option. */
  readonly isEncrypted: boolean;
  readonly repository: string;
  /** Undefined for what is pulled by digest. */
  readonly tag: string | undefined;
  readonly digest: string;
  /** An index with images of several platforms. */
  readonly isIndex: boolean;
}

/** Returns the commands, the usual one first. */
export function pullCommands(wanted: PullWanted): string[] {
  switch (wanted.kind) {
    case 'image':
      return imageCommands(wanted);
    case 'helm':
      return [...helmCommands(wanted), ...artifactCommands(wanted)];
    default:
      return artifactCommands(wanted);
  }
}

function imageCommands(wanted: PullWanted): string[] {
  const { pinned, reference } = referencesOf(wanted);
  const unsafe = wanted.isEncrypted ? '' : ' --tls-verify=false';
  return [
    `docker pull ${reference}`,
    ...(reference === pinned ? [] : [`docker pull ${pinned}`]),
    `podman pull${unsafe} ${reference}`,
    skopeoCopy(wanted),
  ];
}

/** A tag cannot contain the `+` of a chart's version; helm writes `_` instead. */
function helmCommands(wanted: PullWanted): string[] {
  const { registry, repository, tag, isEncrypted } = wanted;
  if (tag === undefined) return [];
  const plain = isEncrypted ? '' : ' --plain-http';
  return [
    `helm pull oci://${registry}/${repository} --version ${tag.replaceAll('_', '+')}${plain}`,
  ];
}

function artifactCommands(wanted: PullWanted): string[] {
  const { pinned, reference } = referencesOf(wanted);
  const plain = wanted.isEncrypted ? '' : ' --plain-http';
  return [
    `oras pull${plain} ${reference}`,
    ...(reference === pinned ? [] : [`oras pull${plain} ${pinned}`]),
    skopeoCopy(wanted),
  ];
}

/** Copies into an OCI layout that is named like the repository, as a drop would be: `oci:web:1.0.0`. */
function skopeoCopy(wanted: PullWanted): string {
  const { repository, tag, isIndex, isEncrypted } = wanted;
  const unsafe = isEncrypted ? '' : ' --src-tls-verify=false';
  const layout = repository.slice(repository.lastIndexOf('/') + 1);
  const all = isIndex ? ' --all' : '';
  const { reference } = referencesOf(wanted);
  return `skopeo copy${all}${unsafe} docker://${reference} oci:${layout}${tag === undefined ? '' : `:${tag}`}`;
}

function referencesOf({ registry, repository, tag, digest }: PullWanted) {
  const pinned = `${registry}/${repository}@${digest}`;
  return { pinned, reference: tag === undefined ? pinned : `${registry}/${repository}:${tag}` };
}
