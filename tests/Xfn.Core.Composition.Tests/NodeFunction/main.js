// A composition function on Crossplane's SDK for Node. Its input says what it does.
import { fatal, getContextKey, getInput, getObservedCompositeResource, getRequiredResource, normal, Resource, requireResource, serve, setContextKey } from '@crossplane-org/function-sdk-typescript';

const actions = {
  // Copies a field of the composite resource into what an earlier step wants.
  patch(req, rsp, { from, resource, label }) {
    const value = from.split('.').reduce((object, field) => object?.[field], getObservedCompositeResource(req).resource);
    const metadata = (rsp.desired.resources[resource].resource.metadata ??= {});
    metadata.labels = { ...metadata.labels, [label]: value };
    normal(rsp, `set label ${label}`);
  },

  // Finds teams by a label, and then by name the ConfigMaps that these name: two rounds.
  find(req, rsp, { labels }) {
    requireResource(rsp, 'teams', { apiVersion: 'v1', kind: 'ConfigMap', matchLabels: { labels } });
    const [teams, isThere] = getRequiredResource(req, 'teams');
    if (!isThere)
      return;
    const leads = teams.map(team => team.resource.data.lead);
    for (const lead of leads)
      requireResource(rsp, lead, { apiVersion: 'v1', kind: 'ConfigMap', matchName: lead, namespace: 'people' });
    const people = leads.map(lead => getRequiredResource(req, lead));
    if (people.every(([, isThere]) => isThere))
      rsp.desired.composite = Resource.fromJSON({ resource: { status: { leads: people.map(([[person]]) => person?.resource.data.name ?? 'nobody') } } });
  },

  // Passes on what an earlier step put into the context, and adds to it.
  context(req, rsp, { key }) {
    const [value] = getContextKey(req, key);
    rsp.desired.composite = Resource.fromJSON({ resource: { status: { read: value } } });
    setContextKey(rsp, 'example.org/node', 'was here');
  },

  fatal: (req, rsp, { message }) => fatal(rsp, message),
  crash: (req, rsp, { status }) => {
    console.error('about to crash');
    process.exit(status);
  },
  hang: () => new Promise(() => {}),
  large(req, rsp, { bytes }) {
    rsp.desired.resources.large = Resource.fromJSON({ resource: { apiVersion: 'v1', kind: 'ConfigMap', data: { text: 'x'.repeat(bytes) } } });
  },
};

serve(async (req, rsp) => {
  const input = getInput(req) ?? {};
  await actions[input.do]?.(req, rsp, input);
  return rsp;
});
