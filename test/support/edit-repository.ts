/** Manual changes of the published tree, for tests that open services. */
import type { Services } from '#src/daemon/services.js';
import { parseRepositoryName } from '#src/image/names.js';
import type { PublishResult, TargetChange } from '#src/publisher/target.js';
import { resolveRepository } from '#src/settings/repository-policy.js';

export function editRepository(
  services: Services,
  repository: string,
  change: TargetChange,
): Promise<PublishResult> {
  const policy = resolveRepository(services.settings, parseRepositoryName(repository));
  return services.targets.local.publish(policy, change);
}
