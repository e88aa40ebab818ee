HOST="vc.example.com";
USERNAME="backup";
LOGLEVEL=3;PORT=443;


MAX_RETRIES=2;