"""The paths of TikTok's endpoints; each has its place in statistics and faults."""

AUTHORIZE = "/v2/auth/authorize/"
TOKEN = "/v2/oauth/token/"  # noqa: S105 - a path
REVOKE = "/v2/oauth/revoke/"
USER_INFO = "/v2/user/info/"
VIDEO_LIST = "/v2/video/list/"
VIDEO_QUERY = "/v2/video/query/"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"
VIDEO_INIT = "/v2/post/publish/video/init/"
INBOX_INIT = "/v2/post/publish/inbox/video/init/"
CONTENT_INIT = "/v2/post/publish/content/init/"
STATUS_FETCH = "/v2/post/publish/status/fetch/"
CANCEL = "/v2/post/publish/cancel/"
UPLOAD = "/_upload/video/"

API_PATHS = (
    AUTHORIZE,
    TOKEN,
    REVOKE,
    USER_INFO,
    VIDEO_LIST,
    VIDEO_QUERY,
    CREATOR_INFO,
    VIDEO_INIT,
    INBOX_INIT,
    CONTENT_INIT,
    STATUS_FETCH,
    CANCEL,
)
