// Tokens as an identity provider would make them, by Node's own crypto.
import { createHash, createHmac, randomBytes } from 'node:crypto';

const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');

/** A gateway's `auth:` and what opens it. `roles` is YAML, indented by two blanks. */
export function locks(world, roles, more = '') {
  const secret = randomBytes(32).toString('hex');
  const key = 'slk_' + randomBytes(32).toString('base64url');
  const file = world.file('jwt.secret', secret + '\n');
  return {
    key,
    /** seconds: until it expires */
    jwt: (claims, seconds = 3600) => {
      const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ exp: Math.floor(Date.now() / 1000) + seconds, ...claims })}`;
      return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
    },
    yaml: (changed = roles) => `auth:
  jwt: { secret_file: ${file}, algorithms: [HS256], leeway: 0s }
  api_keys:
    - name: kiosk
      hash: sha256:${createHash('sha256').update(key).digest('hex')}
      roles: [viewer]
  hello_timeout: 2s
  expiry_warning: 3s
${more}roles:
${changed}`,
  };
}
