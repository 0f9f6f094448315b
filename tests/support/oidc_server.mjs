// OpenID Connect provider for tests: the npm package oidc-provider with its own sign-in pages.
// PUT /accounts/SUBJECT sets the claims of a person. Arguments: folder of the package, port.
import { pathToFileURL } from "node:url";

const [folder, port] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${folder}/lib/index.js`));
const accounts = new Map();
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  features: { registration: { enabled: true } },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["preferred_username", "groups"], teams: ["teams"] },
  cookies: { keys: ["only for tests"] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) }),
});
provider.use(async (context, next) => {
  const subject = context.path.match(/^\/accounts\/(.+)$/)?.[1];
  if (context.method !== "PUT" || !subject) return next();
  let body = "";
  for await (const part of context.req) body += part;
  accounts.set(decodeURIComponent(subject), JSON.parse(body));
  context.status = 204;
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
