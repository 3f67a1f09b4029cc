/** GET /explain: what the gateway's routes make of a channel. Only for those who may see everything. */
import { api } from './session';

export interface Route {
  topic: string;
  channel?: string;
  except?: string[];
  codec: string;
  line: number;
  publish?: string;
}

export interface Explained {
  broker?: string;
  text?: string;
  routes: Route[];
}

/** Undefined: not allowed, or an older gateway. */
export async function explain(channel?: string): Promise<Explained | undefined> {
  const answer = await api('/explain' + (channel === undefined ? '' : `?channel=${encodeURIComponent(channel)}`)).catch(() => undefined);
  return answer?.ok ? answer.json() : undefined;
}

/** As it stands in the configuration; a text in quotes is YAML whatever is in it. */
export function yaml({ topic, channel, except, codec, publish }: Route): string {
  const lines = [`- topic: ${JSON.stringify(topic)}`];
  if (channel) lines.push(`  channel: ${JSON.stringify(channel)}`);
  if (except) lines.push(`  except: ${JSON.stringify(except)}`);
  lines.push(`  codec: ${codec}`);
  if (publish) lines.push('  publish:', `    topic: ${JSON.stringify(publish)}`);
  return lines.join('\n') + '\n';
}
