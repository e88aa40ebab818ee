HOST="vc-old.example.com";
USERNAME="backup";
LOGLEVEL=3;
HOST="vc.example.com";
LOGLEVEL=6; LOGLEVEL=4;
