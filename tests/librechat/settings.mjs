export const agentsVersion = process.env.AGENTS_VERSION;
export const axiosVersion = process.env.AXIOS_VERSION;
export const baseUrl = process.env.LIBRECHAT_CODE_BASEURL;
// LibreChat up to 0.8.5 sends the key with every call; later versions have no key to send.
export const apiKey = process.env.LIBRECHAT_CODE_API_KEY;
// From 0.8.8 on every call says which execution profile it expects.
export const executionProfile = process.env.EXECUTION_PROFILE;
// With CODEAPI_JWT_ENABLED, from 0.8.6 on, each call is signed instead.
const token = process.env.CODEAPI_TOKEN;
export const authHeaders = token ? { Authorization: `Bearer ${token}` } : {};

export const callHeaders = {
  "User-Agent": "LibreChat/1.0",
  ...(apiKey && { "X-API-Key": apiKey }),
  ...authHeaders,
  ...(executionProfile && { "X-CodeAPI-Expected-Profile": executionProfile }),
};
