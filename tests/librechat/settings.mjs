export const agentsVersion = process.env.AGENTS_VERSION;
export const axiosVersion = process.env.AXIOS_VERSION;
export const baseUrl = process.env.LIBRECHAT_CODE_BASEURL;
// LibreChat up to 0.8.5 sends the key with every call; later versions have no key to send.
export const apiKey = process.env.LIBRECHAT_CODE_API_KEY;
// From 0.8.8 on every call says which execution profile it expects.
export const executionProfile = process.env.EXECUTION_PROFILE;

export const callHeaders = {
  "User-Agent": "LibreChat/1.0",
  ...(apiKey && { "X-API-Key": apiKey }),
  ...(executionProfile && { "X-CodeAPI-Expected-Profile": executionProfile }),
};
