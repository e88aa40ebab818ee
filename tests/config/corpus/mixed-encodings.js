// größer als vorher
HOST="vc.example.com";
USERNAME="m�ller";
