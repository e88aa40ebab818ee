HOST="vc.example.com"
USERNAME="backup"   // no end here either
LOGLEVEL=3
PORT=443 MAX_RETRIES=1
BACKOFF_TIME=5