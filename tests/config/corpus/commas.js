HOST="vc.example.com",
USERNAME="backup",
var LOGLEVEL=3, MAX_RETRIES=1;
